"""Where triaged crashes are kept: SQLite by default, PostgreSQL by URL.

`open_store(url)` gives a `Store`; nothing else in here is for other rooms.
"""

from triage.store.news import Arrived, Reported
from triage.store.open import open_store
from triage.store.store import InputStamp, Store

__all__ = ["open_store", "Store", "InputStamp", "Arrived", "Reported"]
