"""A page in the browser that makes pictures with captions; it needs extra ``app``."""

from unfussy.app.page import build_app
from unfussy.app.serving import Serving, launch

__all__ = ["Serving", "build_app", "launch"]
