# syntax=docker/dockerfile:1
# Images of ftx, one target each:
#   docker build --target serve-cpu -t ftx-serve .          a server of a bundle on processors; no torch inside
#   docker build --target serve-gpu -t ftx-serve-gpu .      the same on NVIDIA GPUs, by ONNX Runtime
#   docker build --target train     -t ftx-train .          ftx run …, in the folder that is mounted at /project
#   docker build --target loadtest  -t ftx-loadtest .       ftx loadtest URL …
# What is done inside is in docker/*.sh, which a test runs without Docker.

ARG PYTHON=python:3.11-slim-bookworm
ARG CUDA=nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04

FROM ${PYTHON} AS source
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY core core
COPY plugins plugins
COPY serving serving
COPY loadtests loadtests
COPY docker docker

FROM source AS build-serve-cpu
RUN docker/install.sh /opt/ftx serve,onnx,openvino

FROM source AS build-train
RUN docker/install.sh /opt/ftx train,audit,sweep,onnx,openvino,report

FROM source AS build-loadtest
RUN docker/install.sh /opt/ftx loadtest

# An environment holds paths of the Python that made it: this one is made where it runs.
FROM ${CUDA} AS build-serve-gpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Python with its security updates; what ftx needs is pinned in constraints.txt.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY --from=source /src /src
WORKDIR /src
RUN docker/install.sh /opt/ftx serve,gpu

FROM ${CUDA} AS runtime-gpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM ${PYTHON} AS serve-cpu
LABEL org.opencontainers.image.title="ftx serve (CPU)" \
      org.opencontainers.image.description="Serves an ftx bundle, mounted at /bundle, over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-serve-cpu /opt/ftx /opt/ftx
COPY docker/healthcheck.py /opt/ftx/healthcheck.py
ENV PATH=/opt/ftx/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /bundle
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "/opt/ftx/healthcheck.py"]
ENTRYPOINT ["ftx", "serve", "--host", "0.0.0.0"]
CMD ["/bundle"]

FROM runtime-gpu AS serve-gpu
LABEL org.opencontainers.image.title="ftx serve (GPU)" \
      org.opencontainers.image.description="Serves an ftx bundle, mounted at /bundle, over HTTP on an NVIDIA GPU" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-serve-gpu /opt/ftx /opt/ftx
COPY docker/healthcheck.py /opt/ftx/healthcheck.py
ENV PATH=/opt/ftx/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /bundle
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s CMD ["python", "/opt/ftx/healthcheck.py"]
ENTRYPOINT ["ftx", "serve", "--host", "0.0.0.0", "--device", "cuda"]
CMD ["/bundle"]

FROM ${PYTHON} AS train
LABEL org.opencontainers.image.title="ftx" \
      org.opencontainers.image.description="Fine-tunes, prunes, quantizes and exports text encoders in the folder mounted at /project" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-train /opt/ftx /opt/ftx
# HOME: where the Hugging Face hub's cache goes; mount a volume there to keep it.
ENV PATH=/opt/ftx/bin:$PATH HOME=/home/ftx PYTHONUNBUFFERED=1
RUN mkdir -p /home/ftx /project && chown 10001:10001 /home/ftx /project
USER 10001:10001
WORKDIR /project
ENTRYPOINT ["ftx"]
CMD ["--help"]

FROM ${PYTHON} AS loadtest
LABEL org.opencontainers.image.title="ftx loadtest" \
      org.opencontainers.image.description="Measures the latency of a deployed text classifier" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-loadtest /opt/ftx /opt/ftx
ENV PATH=/opt/ftx/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN mkdir -p /reports && chown 10001:10001 /reports
USER 10001:10001
WORKDIR /reports
ENTRYPOINT ["ftx", "loadtest"]
CMD ["--help"]
