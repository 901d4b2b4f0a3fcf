# `make` lists the targets. Settings: ACCELERATOR=cpu|cuda, SPEC=specs/demo.yaml, PORT=8000, REGISTRY, TAG.
ACCELERATOR ?= cpu
export ACCELERATOR
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON := .venv/bin/python
SHELL := /bin/bash
.DEFAULT_GOAL := help

.PHONY: help demo preflight test engine images push model key venv lint test-light test-images test-e2e test-long test-serving test-airgap test-faults generate generated bench down clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: preflight images model key ## From nothing to an answer: set up, train, serve, compare
	@bash demo/run.sh

test: test-light test-images test-e2e ## Everything that CI runs

preflight: ## What would stop the demo, looked for in its first second
	@bash setup/preflight.sh

engine: ## Docker Engine and Compose, from Debian's packages
	@bash setup/engine.sh

images: engine venv ## The images; of CUDA with ACCELERATOR=cuda
	@bash setup/images.sh $(ACCELERATOR)

push: images ## Push the images to REGISTRY
	@REGISTRY=$${REGISTRY:?set REGISTRY to where the images go} bash setup/bake.sh --push

model: venv ## The demo's base model into models/
	@bash setup/model.sh

key: ## An API key into secrets/api_key, its hash for the gateway
	@bash setup/key.sh

venv: ## The host's Python environment in .venv, with `caisson`
	@bash setup/venv.sh

lint: venv ## Style and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

generated: venv ## Check that generated files are current
	@$(PYTHON) -m schemas.generate --check && $(PYTHON) images/digests.py --check && $(PYTHON) -m entrypoint.manual --check && $(PYTHON) -m entrypoint.openapi --check

generate: venv ## Write the spec's schema, docs/spec.md, cli.md, openapi.json
	@$(PYTHON) -m schemas.generate && $(PYTHON) images/digests.py && $(PYTHON) -m entrypoint.manual && $(PYTHON) -m entrypoint.openapi

test-light: lint generated ## Tests without images, some two minutes
	@$(PYTHON) -m pytest -n 2 -m "not image and not e2e and not clients and not airgap and not gpu"

test-images: images model venv ## Real tiny runs of each stage, inside its image
	@bash tests/image/run.sh

test-e2e: images model key venv ## The demo's chain through Compose, with an openai client
	@$(PYTHON) -m pytest -m e2e tests/e2e

test-long: images model venv ## Trainings that others stand for in `make test`
	@LONG=" and long" bash tests/image/run.sh tests/entrypoint/run

test-serving: images model key venv ## Engines that hang or change, clients of others: long
	@bash tests/image/run.sh tests/entrypoint/run/test_serve.py tests/entrypoint/run/test_serve_promotion.py tests/entrypoint/run/test_serve_adapters.py \
		tests/entrypoint/run/test_serve_wishes.py
	@$(PYTHON) -m pytest -m clients tests/e2e

test-airgap: images model venv ## The demo from a bundle where packets are counted; as root
	@$(PYTHON) -m pytest -m airgap tests/e2e

test-faults: images venv ## Every fault, a hundred kills: hours
	@$(PYTHON) -m pytest -m faults tests/faults --whole -s

bench: images model key venv ## The program, measured; bench/*/README.md has the rest
	@set -e; for name in cli probes demo; do $(PYTHON) bench/$$name/run.py; done

down: ## Stop every service, also those of profiles
	@docker compose --profile '*' down

clean: down ## Remove the store: models, checkpoints and exports are lost
	@docker volume rm --force $${PROJECT:-caisson}_store
