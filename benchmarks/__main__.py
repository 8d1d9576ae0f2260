"""Run the benchmarks named on the command line, or all: every module here with a `main` function is one."""

import importlib
import pkgutil
import sys

import benchmarks

names = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name != "__main__")
for name in sys.argv[1:] or names:
    if name not in names:
        sys.exit(f"No benchmark {name!r}. There are: {', '.join(names)}.")
    print(f"== {name}", flush=True)
    importlib.import_module(f"benchmarks.{name}").main()
