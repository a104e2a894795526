"""The daemon: what runs while `oln node` runs. One module a task.

- `watching.py`  notices what other processes on this home wrote, within WATCH_S
- `following.py` folds what the witnesses decided, closes epochs that fall due, honours erasures
- `greeting.py`  who may come in, and who is dialled
- `metrics.py`   figures as text, on loopback
- `report.py`    the file by which `oln status` knows the daemon
- `logs.py`      where the daemon's own log goes
- `main.py`      begins and ends all of it
"""
