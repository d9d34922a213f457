# The image of every service of ours in docker-compose.yml: `taskq` in a virtual environment, run by a user of its own.
#
#   docker build -t taskq .
#   docker build -t taskq --build-arg PACKAGES="httpx pillow" .    # with what your tasks import
#
# The classic builder (DOCKER_BUILDKIT=0) and BuildKit both build it.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/taskq
# What is installed changes less often than the code: a layer of its own.
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" >requirements.txt \
    && python -m pip --python /opt/taskq/bin/python install -r requirements.txt
ARG PACKAGES=""
RUN test -z "$PACKAGES" || python -m pip --python /opt/taskq/bin/python install $PACKAGES
COPY README.md LICENSE ./
COPY taskq taskq
COPY registry registry
COPY producer producer
COPY worker worker
RUN python -m pip wheel --no-deps --wheel-dir /dist . \
    && python -m pip --python /opt/taskq/bin/python install --no-deps /dist/*.whl

FROM python:3.13-slim
LABEL org.opencontainers.image.title="taskq" \
      org.opencontainers.image.description="A fleet of workers on Redis whose tasks are registered, changed and rolled back while everything runs" \
      org.opencontainers.image.licenses="MIT"
# The user has a fixed number, so that volumes stay readable when the image is built anew. A volume that is empty takes over
# owner and mode of the folder that it is mounted on: nothing ever has to run as root.
RUN groupadd --gid 10001 taskq \
    && useradd --uid 10001 --gid taskq --no-create-home --home-dir /work --shell /usr/sbin/nologin taskq \
    && install -d -o taskq -g taskq -m 0750 /run/taskq /work \
    && install -d -o taskq -g taskq -m 0700 /data
COPY --from=build /opt/taskq /opt/taskq
ENV PATH=/opt/taskq/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /work
# Healthy: a worker or scheduler of this container has reported itself in Redis within the last seconds. Each check costs about
# 0.3 s of a core, hence not more often.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD ["taskq", "doctor", "--here"]
ENTRYPOINT ["taskq"]
CMD ["worker"]
