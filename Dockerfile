# An image of isosmoke itself. In a container, it creates its sandboxes as sibling containers, through the
# daemon whose socket is mounted. docs/clean-environments.md shows how to run it.
ARG BASE=debian:stable-slim

FROM ${BASE} AS built
RUN apt-get update \
	&& DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
		gcc libc6-dev python3 python3-venv
COPY requirements /source/requirements
RUN python3 -m venv /opt/isosmoke \
	&& /opt/isosmoke/bin/pip install --no-cache-dir --require-hashes -r /source/requirements/run.txt
COPY . /source
RUN /opt/isosmoke/bin/pip install --no-cache-dir --no-deps --no-build-isolation /source

FROM ${BASE}
RUN apt-get update \
	&& DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
		ca-certificates git python3 \
	&& rm -rf /var/lib/apt/lists/*
COPY --from=built /opt/isosmoke /opt/isosmoke
ENV PATH=/opt/isosmoke/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["isosmoke"]
