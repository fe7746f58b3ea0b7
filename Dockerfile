# The image CI jobs run in: Node, Maven with a JDK, git, and crosscloud itself.
#   docker build --tag crosscloud-runner .
# Behind a wall: --build-arg BASE=registry.example.com/library/node:24-bookworm-slim
ARG BASE=node:24-bookworm-slim

FROM ${BASE} AS packed
WORKDIR /source
COPY . .
# The same tarball that is published: what it lacks, nobody has.
RUN npm ci && mkdir /packed && npm pack --ignore-scripts --pack-destination /packed

FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates default-jdk-headless git maven openssh-client \
 && rm -rf /var/lib/apt/lists/*
COPY --from=packed /packed/ /packed/
RUN npm install --global --omit=dev /packed/*.tgz \
 && rm -r /packed \
 && npm cache clean --force
# A command of it: jobs then need no npx. Jobs may run as any user.
ENV CROSSCLOUD_COMMAND=crosscloud
WORKDIR /work
CMD ["crosscloud", "--help"]
