"""The web console: what happened to every order and message, and why, in a browser.

A process of its own that asks the services over REST, with the token of who looks, and the broker through its console.
"""
