"""Crash-recovery drills: deployments of their own, what is done to them, and how they are judged afterwards."""
