# The reactor's image: docker build -t calendar-sync-reactor:0.2.0 .
#
# Two stages. The first has pip and builds; the last has Python, the installed packages and nothing to build or install
# with. It runs as a number, since `runAsNonRoot` cannot judge a name; from a tree that it cannot write, so byte code is
# compiled here; and as process 1 without a shell, so that SIGTERM reaches it (reactor/service.py receives it before
# anything slow).
#
# Python 3.13 has had two years of fixes, and the pins have wheels for it of all that is not pure Python. Any that
# pyproject.toml names will do. The bases go by tag: a digest that we have not pulled would be made up. Pin it with
# --build-arg PYTHON=python:3.13-slim@sha256:...
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
WORKDIR /src
COPY requirements/run.txt requirements/build.txt requirements/
# Wheels only, each by its hash: no code of a package runs at its installation.
RUN python -m venv /opt/reactor \
 && /opt/reactor/bin/python -m pip install --no-cache-dir --no-compile --only-binary :all: \
        --require-hashes -r requirements/run.txt \
 && python -m venv /opt/build \
 && /opt/build/bin/python -m pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY reactor reactor
COPY calendar_emulator calendar_emulator
COPY db db
RUN /opt/build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/reactor/bin/python -m pip install --no-cache-dir --no-compile --no-deps --no-index dist/*.whl \
 && /opt/reactor/bin/python -m pip uninstall --yes pip \
 && /opt/reactor/bin/python -m compileall -q -j 0 /opt/reactor

FROM ${PYTHON}
COPY --from=build /opt/reactor /opt/reactor
# The base's own installer is no use where nothing can be written.
RUN python -m pip uninstall --yes --root-user-action=ignore pip
ENV PATH=/opt/reactor/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HEALTH_BIND=*:8080 \
    LOG_FORMAT=json
USER 10001:10001
# Where `python -m` looks first: what can be written must not be it.
WORKDIR /
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/reactor/bin/python", "-m", "reactor"]
