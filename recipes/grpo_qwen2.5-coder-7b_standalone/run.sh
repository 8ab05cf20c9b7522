#!/usr/bin/env bash
# GRPO on four cards of a node, CodeRM-8B on the other four all the time: see README.md.
#
#   TRAIN_FILE=train.parquet VAL_FILE=val.parquet run.sh
#
# POLICY and CODERM name other models or local folders, OUT the folder for everything that is written.
# Further arguments override what stands here, as in verl: run.sh trainer.total_epochs=1
set -euo pipefail
fail() {
    echo "$0: $*" >&2
    exit 2
}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
POLICY=${POLICY:-Qwen/Qwen2.5-Coder-7B-Instruct}
CODERM=${CODERM:-KAKA22/CodeRM-8B}
! [ -d "$POLICY" ] || POLICY=$(realpath "$POLICY")
! [ -d "$CODERM" ] || CODERM=$(realpath "$CODERM")
OUT=$(realpath -m "${OUT:-out/grpo_qwen2.5-coder-7b_standalone}")
for name in TRAIN_FILE VAL_FILE; do
    [ -n "${!name:-}" ] || fail "$name is not set; name a parquet file as scripts/prepare_data.py writes it."
    [ -f "${!name}" ] || fail "$name=${!name} is no file; make it with scripts/prepare_data.py."
done
mkdir -p "$OUT"

# The inner quotes are for hydra, so that a path may hold spaces and commas.
exec python -m verl.trainer.main_ppo \
    algorithm.adv_estimator=grpo \
    data.train_files="'$(realpath "$TRAIN_FILE")'" \
    data.val_files="'$(realpath "$VAL_FILE")'" \
    data.train_batch_size=64 \
    data.max_prompt_length=1024 \
    data.max_response_length=2048 \
    data.filter_overlong_prompts=True \
    data.seed=1 \
    actor_rollout_ref.model.path="'$POLICY'" \
    actor_rollout_ref.actor.optim.lr=1e-6 \
    actor_rollout_ref.actor.ppo_mini_batch_size=32 \
    actor_rollout_ref.actor.use_dynamic_bsz=True \
    actor_rollout_ref.actor.ppo_max_token_len_per_gpu=12288 \
    actor_rollout_ref.actor.use_kl_loss=True \
    actor_rollout_ref.actor.kl_loss_coef=0.001 \
    actor_rollout_ref.actor.fsdp_config.param_offload=True \
    actor_rollout_ref.actor.fsdp_config.optimizer_offload=True \
    actor_rollout_ref.ref.fsdp_config.param_offload=True \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.6 \
    actor_rollout_ref.rollout.n=8 \
    actor_rollout_ref.rollout.val_kwargs.n=4 \
    actor_rollout_ref.rollout.val_kwargs.do_sample=True \
    actor_rollout_ref.rollout.val_kwargs.temperature=0.8 \
    actor_rollout_ref.rollout.val_kwargs.top_p=0.95 \
    reward.num_workers=8 \
    reward.reward_manager.source=importlib \
    reward.reward_manager.name=CodeRMRewardManager \
    reward.reward_manager.module.path=pkg://coderm_reward.integrations.verl \
    reward.custom_reward_function.path=pkg://coderm_reward.integrations.verl \
    reward.custom_reward_function.name=compute_score \
    +reward.custom_reward_function.reward_kwargs.config_path="'$here/reward.yaml'" \
    +reward.custom_reward_function.reward_kwargs.records="'$OUT/records'" \
    +reward.custom_reward_function.reward_kwargs.store="'$OUT/suites.db'" \
    reward.reward_model.enable=True \
    reward.reward_model.model_path="'$CODERM'" \
    reward.reward_model.rollout.name=vllm \
    reward.reward_model.rollout.tensor_model_parallel_size=1 \
    reward.reward_model.rollout.gpu_memory_utilization=0.85 \
    reward.reward_model.rollout.max_model_len=4096 \
    reward.reward_model.rollout.max_num_seqs=256 \
    reward.reward_model.rollout.enforce_eager=False \
    reward.reward_model.rollout.free_cache_engine=False \
    reward.reward_model.enable_resource_pool=True \
    reward.reward_model.n_gpus_per_node=4 \
    reward.reward_model.nnodes=1 \
    trainer.nnodes=1 \
    trainer.n_gpus_per_node=4 \
    trainer.project_name=coderm_reward \
    trainer.experiment_name=grpo_qwen2.5-coder-7b_standalone \
    trainer.logger='["console","tensorboard"]' \
    trainer.default_local_dir="'$OUT/checkpoints'" \
    trainer.rollout_data_dir="'$OUT/rollouts'" \
    trainer.validation_data_dir="'$OUT/validation'" \
    trainer.val_before_train=True \
    trainer.test_freq=10 \
    trainer.save_freq=50 \
    trainer.total_epochs=2 \
    "$@"
