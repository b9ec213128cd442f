"""The services that order calls: goods for prices, the participants for reservations."""
