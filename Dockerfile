# Everything that `pip install 'sysopt-gym[all]'` brings, on the CPU:
#     docker build -t sysopt-gym .
#     docker run --rm -v "$PWD:/work" sysopt-gym compare vm_rescheduling --instances cluster.json
# Where PyTorch's CPU builds are, is given as --build-arg PIP_EXTRA_INDEX_URL=...; without it torch
# comes with CUDA, two gigabytes more.
FROM python:3.11-slim
ARG PIP_EXTRA_INDEX_URL=""
ENV OMP_NUM_THREADS=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY . /opt/sysopt-gym
RUN pip install --no-compile -c /opt/sysopt-gym/constraints.txt torch==2.13.0 \
 && pip install --no-compile -c /opt/sysopt-gym/constraints.txt -e '/opt/sysopt-gym[all]' \
 && sysopt-gym warm-up vm_rescheduling memory_mapping
WORKDIR /work
ENTRYPOINT ["sysopt-gym"]
