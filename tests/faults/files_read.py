"""Which files the commands of the scripts read, in the recipe that bad_inputs.py makes."""

_DEEP = "exp/deep/config.json exp/deep/model.safetensors exp/deep/tokenizer.model"
_EXPERIMENT = (
    "exp/costs.json exp/correlation/dc.npy exp/correlation/dc.json exp/correlation/dc.record.json exp/prune1/dc/*.json "
    "exp/prune1/top/*.json exp/prune1/dc_fine/*.json exp/prune1/layers_*/*.json exp/prune1/layers_*/finetuned/record.json "
    "exp/prune1/layers_*/pruned/decode_valid/* exp/prune1/layers_*/train/train_log.csv exp/deep/export/*/*.json"
)
FILES = [
    ("local/train_deep.py", "--force", "deep.yaml data/train/text data/dev/wav.scp"),
    ("local/train_deep.py", "", "exp/deep/record.json exp/train_deep/started.json"),
    ("local/stage1_dump_hidden_states.py", "--force", f"data/probe/* wav/u1.wav {_DEEP}"),
    ("local/stage1_dump_hidden_states.py", "", "exp/hidden/*"),
    ("local/stage2_correlation.py", "--force", "exp/hidden/*"),
    ("local/stage2_correlation.py", "", "exp/correlation/dc.record.json exp/correlation/dc.npy"),
    ("local/stage3_coarse_search.py", "--force", "exp/correlation/*"),
    ("local/stage3_coarse_search.py", "", "exp/prune1/dc/candidates.json exp/prune1/dc/stage3.record.json"),
    ("local/stage4_fine_search.py", "--force", "exp/prune1/dc/candidates.json exp/prune1/dc/stage3.record.json exp/correlation/dc.npy exp/costs.record.json"),
    ("local/stage4_fine_search.py", "", "exp/prune1/dc_fine/*.json"),
    ("local/stage5_finetune.py", "", "finetune.yaml exp/prune1/top/*.json exp/prune1/layers_*/*/record.json"),
    ("local/stage5_finetune.py", "--number_of_epochs=2", "exp/prune1/layers_*/train/*.json exp/prune1/layers_*/train/save/*/[Cm]*"),
    ("local/stage6_decode.py", "--force", "exp/prune1/layers_*/*.json exp/prune1/layers_*/pruned/config.json exp/prune1/layers_*/finetuned/record.json"),
    ("local/stage6_decode.py", "", "exp/deep/decode_valid/*.json"),
    ("local/stage7_report.py", "", "exp/correlation/dc.npy exp/deep/decode_valid/hyp exp/report/record.json exp/prune1/dc/ranked.json"),
    ("local/table_of_seeds.py", "", _EXPERIMENT),
    ("local/export.py", "--force", "data/valid/text exp/deep/config.json exp/deep/model.safetensors"),
    ("local/export.py", "", "exp/deep/export/*/record.json"),
    ("local/fetch_model.py", "--force", _DEEP),
    ("local/fetch_model.py", "", "fetched/deep/record.json"),
    ("local/fetch.py", "", "fetched.tgz"),
    ("local/unpack.py", "--force", "corpus.tgz"),
    ("local/recipe_options.py", "", "finetune.yaml"),
    ("local/select_subsets.py", "", "data/subsets.json data/train/text data/valid/wav.scp"),
    ("local/prepare_aishell.py", "", "aishell/transcript/* aishell/wav/dev/S1/*.wav prepared/aishell/prepare.record.json"),
    ("utils/add_noise.py", "", "data/valid/wav.scp wav/u1.wav"),
    ("utils/csv_to_data_dir.py", "", "table.csv"),
    ("utils/hf_to_data_dir.py", "", "hf/*"),
    ("utils/manifest_to_data_dir.py", "", "manifest.jsonl"),
    ("utils/subset_data_dir.py", "", "prepared/subset.json data/train/wav.scp"),
    ("utils/validate_data_dir.py", "", "data/valid/*"),
    ("recipes/fsdd/local/make_strings.py", "--force", "fsdd/recordings/0_ann_0.wav"),
    ("recipes/mini/local/make_corpus.py", "", "prepared/mini/corpus.record.json"),
    ("recipes/librispeech/local/prepare_librispeech.py", "--force", "libri/LibriSpeech/a/1/2/*"),
    ("recipes/whisper/local/prepare_sets.py", "--force", "prompts/text prompts/p0.wav"),
]
"""(script, options beside those of its command, the files that it reads so): those that it makes from with --force, which makes its
results again, and without it those by which it tells that they are there. table_of_seeds reads all that stage 7 does, in less time."""
NOT_READ = {"local/launch.py"}
"""It starts a script, and reads nothing."""
