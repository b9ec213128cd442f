"""`halfmessage drill`: kills a service of yours at every step of every transaction, and says what held.

- `scenario`: what you bring: `act`, `check` and, where it is wanted, `prepare`
- `child`: one process of your service, which is armed, acts, and dies; or settles, and is checked
- `watching`, `losing`, `waiting`: what it sees of that process, which of its calls it loses, and how it waits
- `invariants`: what must hold whatever the service does
- `steps`: where it is killed
- `run`: the steps, one after another
- `report`: what is printed, and the page
- `cli`: the command
"""
