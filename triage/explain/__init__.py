"""One crash explained on one page: what happened, where, how sure, what to do first, what to try next."""

from __future__ import annotations

from triage.explain.context import Context
from triage.explain.page import Page, Part, Statement, write_page

__all__ = ["Context", "Page", "Part", "Statement", "write_page"]
