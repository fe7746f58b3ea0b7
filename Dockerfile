# The image CI jobs run in: Node, Maven with a JDK, git, and crosscloud itself.
#   docker build --tag crosscloud-runner .
# Behind a wall: --build-arg BASE=registry.example.com/library/node:24-bookworm-slim
ARG BASE=node:24-bookworm-slim

FROM ${BASE} AS packed
WORKDIR /source
COPY . .
# The same package that jobs without this image unpack.
RUN npm ci && mkdir /packed && npm run package -- --out /packed

FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates default-jdk-headless git git-lfs maven openssh-client \
 && rm -rf /var/lib/apt/lists/*
COPY --from=packed /packed/ /packed/
# It holds its dependencies: nothing is fetched.
RUN npm install --global --offline /packed/*.tgz && rm -r /packed
# Java and the shell must agree on what a file name means. Jobs may run as any user.
ENV LANG=C.UTF-8
WORKDIR /work
CMD ["crosscloud", "--help"]
