"""The seccomp filter that bwrap installs; what it denies, and why, is in guest/seccomp.py."""

from __future__ import annotations

from coderm_sandbox.guest.seccomp import build_filter, supported

__all__ = ["build_filter", "supported"]
