# starcli in a container:
#
#     docker build -t starcli .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" starcli train --arch mlp --data digits -o 0.safetensors
#
# On x86-64 pip's torch brings CUDA: with NVIDIA's container toolkit `docker run --gpus all ...` computes on the GPU.
# Where an image without it, some 5 GB smaller, is enough: --build-arg PIP_EXTRA_INDEX_URL=(PyTorch's index of CPU builds).
# Extras: --build-arg EXTRAS='[hf,data]'.

FROM python:3.13-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
ARG EXTRAS=""
ARG PIP_EXTRA_INDEX_URL
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)$EXTRAS" && useradd --create-home starcli
# any user that --user names has a place for caches and a name
ENV HOME=/tmp USER=starcli
USER starcli
WORKDIR /work
ENTRYPOINT ["starcli"]
