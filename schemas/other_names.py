"""What other trainers call a key of the spec, for people who come from them."""

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "model.source": ("base_model", "model_name_or_path", "model_id", "model_path"),
    "data.train": ("dataset", "datasets", "train_file", "dataset_mixture"),
    "data.validation": ("val_size", "val_set_size", "eval_dataset", "split_dataset_ratio", "test_size"),
    "data.max_length": ("cutoff_len", "sequence_len", "max_seq_length", "max_seq_len"),
    "method.kind": ("stage", "rl", "rlhf_type"),
    "method.loss_on": ("train_on_inputs", "train_on_prompt", "train_on_completions", "assistant_only_loss", "loss_scale"),
    "adapter.kind": ("finetuning_type", "tuner_type", "train_type", "load_in_4bit", "quantization_bit", "use_peft"),
    "adapter.rank": ("lora_r", "lora_rank", "r"),
    "adapter.alpha": ("lora_alpha",),
    "adapter.dropout": ("lora_dropout",),
    "adapter.targets": ("lora_target", "lora_target_modules", "lora_target_linear", "target_modules"),
    "train.epochs": ("num_epochs", "num_train_epochs"),
    "train.learning_rate": ("lr",),
    "train.batch_tokens": ("batch_size", "micro_batch_size", "per_device_train_batch_size", "gradient_accumulation_steps", "global_batch_size"),
    "train.schedule": ("lr_scheduler", "lr_scheduler_type"),
    "train.warmup": ("warmup_ratio", "warmup_steps"),
    "train.precision": ("bf16", "fp16", "torch_dtype", "dtype"),
    "train.checkpoint.every": ("save_steps",),
    "train.checkpoint.keep": ("save_total_limit",),
    "hardware.strategy": ("deepspeed", "fsdp", "fsdp_config", "zero_stage"),
    "track": ("report_to", "use_wandb", "use_swanlab", "use_mlflow"),
    "track.project": ("wandb_project", "swanlab_project"),
    "track.entity": ("wandb_entity",),
    "track.workspace": ("swanlab_workspace",),
    "track.mode": ("wandb_mode", "swanlab_mode"),
    "track.key_file": ("wandb_api_key", "swanlab_api_key"),
    "track.uri": ("mlflow_tracking_uri", "tracking_uri"),
    "track.experiment": ("mlflow_experiment_name", "experiment_name"),
    "serve.engine": ("infer_backend",),
    "serve.max_length": ("max_model_len",),
    "serve.memory_share": ("gpu_memory_utilization",),
}
"""Names in axolotl, LLaMA-Factory, ms-swift, TRL and vLLM by the key of the spec; `*` of lists left out."""

BY_NAME = {name: path for path, names in OTHER_NAMES.items() for name in names}
