"""What runs inside a sandbox worker. Standard library only, any CPython from 3.10 on.

Inside a worker this package is mounted under the name `coderm_guest`; hence the relative imports.
"""
