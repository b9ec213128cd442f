"""The reporter: what drills, random drills and benches found, on a terminal, as documents and as pages."""
