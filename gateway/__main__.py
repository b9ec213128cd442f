"""`python -m gateway`: renders the configuration, and becomes Caddy."""

from gateway.companion import begin

if __name__ == "__main__":
    begin()  # first: a fork of a small process is a small process
    from gateway.starting import main

    main()
