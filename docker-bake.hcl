# Caisson's images. setup/images.sh calls this with the secrets and the base image; by hand:
#   docker buildx bake --print
variable "REGISTRY" { default = "caisson" }
variable "TAG" { default = "dev" }
variable "ACCELERATOR" { default = "cpu" }    # cpu or cuda
variable "BASE_IMAGE" { default = "" }        # what base is made from; setup/base.sh knows
variable "WHEELS" { default = "images/no-wheels" }    # a folder of wheels that pip looks into first
variable "SECRETS" { default = "/run/caisson-build" } # a folder with ca.pem and pip.conf; setup/bake.sh makes it
variable "VERSION" { default = "0.0.0" }
variable "REVISION" { default = "" }
variable "SOURCE" { default = "" }

group "default" { targets = ["train", "export", "serve-vllm", "gateway", "evaluate"] }

target "common" {
  context = "."
  network = "host"    # the build reaches the mirrors that the host reaches, and on loopback too
  args    = { ACCELERATOR = ACCELERATOR, VERSION = VERSION, REVISION = REVISION, SOURCE = SOURCE }
  secret  = ["id=ca,src=${SECRETS}/ca.pem", "id=pip,src=${SECRETS}/pip.conf"]
}

target "base" {
  inherits   = ["common"]
  dockerfile = "images/base/Dockerfile"
  args       = { BASE_IMAGE = BASE_IMAGE }
  tags       = ["${REGISTRY}/base:${TAG}"]
}

target "torch" {
  inherits   = ["common"]
  dockerfile = "images/torch/Dockerfile"
  contexts   = { base = "target:base", wheels = WHEELS }
  tags       = ["${REGISTRY}/torch:${TAG}-${ACCELERATOR}"]
}

target "leaf" {
  inherits = ["common"]
  contexts = { base = "target:base", torch = "target:torch", wheels = WHEELS }
  args     = { BASE_NAME = "${REGISTRY}/torch:${TAG}-${ACCELERATOR}" }
}

target "train" {
  inherits   = ["leaf"]
  dockerfile = "images/train/Dockerfile"
  tags       = ["${REGISTRY}/train:${TAG}-${ACCELERATOR}"]
}

target "export" {
  inherits   = ["leaf"]
  dockerfile = "images/export/Dockerfile"
  tags       = ["${REGISTRY}/export:${TAG}-${ACCELERATOR}"]
}

target "serve-vllm" {
  inherits   = ["leaf"]
  dockerfile = "images/serve-vllm/Dockerfile"
  tags       = ["${REGISTRY}/serve-vllm:${TAG}-${ACCELERATOR}"]
}

target "gateway" {
  inherits   = ["common"]
  dockerfile = "images/gateway/Dockerfile"
  contexts   = { base = "target:base", wheels = WHEELS }
  args       = { BASE_NAME = "${REGISTRY}/base:${TAG}" }
  tags       = ["${REGISTRY}/gateway:${TAG}"]
}

target "evaluate" {
  inherits   = ["common"]
  dockerfile = "images/evaluate/Dockerfile"
  contexts   = { base = "target:base", wheels = WHEELS }
  args       = { BASE_NAME = "${REGISTRY}/base:${TAG}" }
  tags       = ["${REGISTRY}/evaluate:${TAG}-${ACCELERATOR}"]
}

# CUDA only, and not built unless it is named: `setup/images.sh cuda serve-lmdeploy`.
target "serve-lmdeploy" {
  inherits   = ["common"]
  dockerfile = "images/serve-lmdeploy/Dockerfile"
  contexts   = { base = "target:base", wheels = WHEELS }
  args       = { BASE_NAME = "${REGISTRY}/base:${TAG}" }
  tags       = ["${REGISTRY}/serve-lmdeploy:${TAG}-${ACCELERATOR}"]
}
