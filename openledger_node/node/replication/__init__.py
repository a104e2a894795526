"""Replication: the tasks that carry out what `sync` decides, between the store and the links.

- `holder.py`   what replication asks of a store, and the answer from an open home
- `lane.py`     the one lane through which everything that arrives is stored, in batches
- `link.py`     one link: what comes in, what goes out, the faults that end it
- `serving.py`  answering a peer's WANTs
- `fetching.py` what this node has asked for, from the first answer to the last leaf
- `admission.py` whose logs are taken in
- `turns.py`    how the links share the task that reads them all
- `engine.py`   all links together: the hub that a daemon, a round of sync and the simulator run
"""
