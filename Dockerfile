# The service without training code. It serves the run directory mounted at /model:
#   docker build -t mlsys-serve .
#   docker run -p 8000:8000 -v "$PWD/outputs/2026-11-20/10-15-00:/model:ro" -v "$PWD/keys.txt:/keys.txt:ro" -v log:/data mlsys-serve
FROM python:3.11.14-slim-bookworm AS build

RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc=4:12.* libc6-dev=2.36-* \
    && rm -rf /var/lib/apt/lists/*
COPY --from=ghcr.io/astral-sh/uv:0.13.8 /uv /usr/local/bin/uv
# The lock pins every package by hash. It is complete, except for declared dependencies that serving never imports (plots,
# NVIDIA's collectives), so dependencies are not resolved again.
COPY requirements-serve.lock /build/
RUN uv venv --python /usr/local/bin/python3 /opt/venv \
    && uv pip install --python /opt/venv/bin/python --no-cache --compile-bytecode --no-deps --require-hashes -r /build/requirements-serve.lock
COPY mlsys /opt/mlsys/mlsys
COPY serve /opt/mlsys/serve
WORKDIR /opt/mlsys
# Bytecode is not validated against timestamps, so the build's clock does not matter and nothing is compiled at startup.
RUN cc -std=c11 -O2 -ffp-contract=off -shared -fPIC -o serve/scoring/trees/traverse.bin serve/scoring/trees/traverse.c \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/mlsys

FROM python:3.11.14-slim-bookworm

# LightGBM needs the system's OpenMP library.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1=12.* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin mlsys \
    && install -d -o mlsys /data
COPY --from=build /opt /opt
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/mlsys \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MLSYS_SERVE__HOST=0.0.0.0 \
    MLSYS_SERVE__PORT=8000 \
    MLSYS_SERVE__KEYS=/keys.txt
# The prediction log is written here.
WORKDIR /data
VOLUME /data
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f\"http://127.0.0.1:{os.environ['MLSYS_SERVE__PORT']}/ready\", timeout=2)"]
ENTRYPOINT ["python", "-m", "serve"]
CMD ["/model"]
