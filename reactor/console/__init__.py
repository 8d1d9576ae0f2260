"""The operator's pages: Starlette and Jinja2 over the desk, in a process of their own."""
