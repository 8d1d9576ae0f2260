"""Run the benchmarks named on the command line, or all: every module here with a `main` function is one."""

import importlib
import pkgutil
import sys

import benchmarks

names = sorted(
    module.name
    for module in pkgutil.iter_modules(benchmarks.__path__)
    if module.name != "__main__" and hasattr(importlib.import_module(f"benchmarks.{module.name}"), "main")
)
for name in sys.argv[1:] or names:
    if name not in names:
        sys.exit(f"No benchmark {name!r}. There are: {', '.join(names)}.")
    print(f"== {name}", flush=True)
    importlib.import_module(f"benchmarks.{name}").main()
