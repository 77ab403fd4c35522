# The image of every Nacre process: `docker run nacre serve`, `... worker`, `... learner`.
#   docker build -t nacre:cpu .
#   docker build -t nacre:cuda --build-arg TORCH_VARIANT=cuda .
#   docker build -t nacre:cpu-learner --target learner .

FROM python:3.11-slim-bookworm AS build

# cpu: the small build from torch's own index. cuda: the default index, whose torch brings CUDA along.
ARG TORCH_VARIANT=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/nacre/bin:$PATH
WORKDIR /build
RUN python -m venv /opt/nacre

# Torch first and alone: the other index has other versions of everything else.
COPY constraints.txt ./
RUN grep '^torch==' constraints.txt > torch.txt \
    && case "$TORCH_VARIANT" in \
        cpu) pip install --no-deps --index-url https://download.pytorch.org/whl/cpu -r torch.txt ;; \
        cuda) pip install --no-deps -r torch.txt ;; \
        *) echo "TORCH_VARIANT is '$TORCH_VARIANT'; it must be cpu or cuda" >&2; exit 1 ;; \
    esac

# What we depend on, before what we wrote: a change of ours downloads nothing again.
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*(name for name in tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'] if name != 'nacre-client'), sep='\n')" > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt

COPY README.md ./
COPY clients/python clients/python
COPY agent_core agent_core
COPY service service
RUN pip install --no-deps ./clients/python . && pip check


FROM python:3.11-slim-bookworm AS process

# The folders exist here so that a new volume on one of them belongs to this user.
RUN useradd --system --uid 10001 --user-group --home-dir /tmp --no-create-home nacre \
    && install -d -o nacre -g nacre -m 700 /var/lib/nacre /var/lib/nacre/artefacts \
        /var/lib/nacre/archive /var/lib/nacre/checkpoints /var/lib/nacre/state
COPY --from=build /opt/nacre /opt/nacre
# The file system may be read-only: no bytecode at run time, and everything that is written is below these.
ENV PATH=/opt/nacre/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NACRE_HOST=0.0.0.0 \
    NACRE_PORT=8000 \
    NACRE_ARTEFACTS=/var/lib/nacre/artefacts \
    NACRE_ARCHIVE=/var/lib/nacre/archive \
    NACRE_CHECKPOINTS=/var/lib/nacre/checkpoints \
    NACRE_STATE=/var/lib/nacre/state
USER 10001:10001
WORKDIR /var/lib/nacre
EXPOSE 8000
# For `serve`. A worker and a learner answer no HTTP: docker-compose.yml looks at their heartbeat instead.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['NACRE_PORT'] + '/healthz', timeout=3)"]
ENTRYPOINT ["nacre"]
CMD ["serve"]


# For a learner: with a compiler its updates are made several times as fast; without one it does all the same.
FROM process AS learner
USER 0:0
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++=4:12.2.0-3 \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001


FROM process
