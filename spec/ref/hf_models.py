"""Small random checkpoints of Hugging Face's transformers as its save_pretrained writes them, and what the models give.

    python spec/ref/hf_models.py      writes spec/fixtures/torch/hf_NAME.safetensors, the library's own file, and
                                      hf_NAME_run.safetensors, inputs and outputs; spec/saving/hf_spec.lua loads and runs them
Needs transformers, torch, safetensors. Pictures are stored channels last."""
import os
import shutil
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BertForSequenceClassification, BertModel, GPT2Config, GPT2LMHeadModel, GPT2Model, ViTConfig,
                          ViTForImageClassification, ViTModel)

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "torch")
torch.manual_seed(11)


def write(name, model, run, rename=None, whole=True):
    model.eval()
    with torch.no_grad():
        for p in model.parameters():   # biases and norms too
            p.copy_(torch.randn(p.shape) * 0.25 + (1 if p.dim() == 1 and "norm" in name else 0))
        found = run(model)
    with tempfile.TemporaryDirectory() as d:
        model.save_pretrained(d)
        path = os.path.join(FOLDER, "hf_%s.safetensors" % name)
        if not whole:   # the names of its modules, which the library's file may spell otherwise
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path, {"format": "pt"})
        elif rename:
            save_file({rename(k): v for k, v in load_file(os.path.join(d, "model.safetensors")).items()}, path, {"format": "pt"})
        else:
            shutil.copy(os.path.join(d, "model.safetensors"), path)
        print(name, os.path.getsize(path), sorted(load_file(path))[:6])
    save_file({k: v.detach().contiguous() for k, v in found.items()}, os.path.join(FOLDER, "hf_%s_run.safetensors" % name))


ids = torch.randint(0, 23, (3, 7))
mask = torch.ones(3, 7, dtype=torch.long)
mask[1, 5:] = 0
mask[2, 3:] = 0
segments = (torch.arange(7)[None] >= torch.tensor([[4], [2], [6]])).long()

gpt2 = GPT2Config(vocab_size=23, n_positions=12, n_embd=12, n_layer=2, n_head=3, n_inner=20)
bert = BertConfig(vocab_size=23, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, max_position_embeddings=12)
vit = ViTConfig(hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, image_size=(8, 12), patch_size=4)
vit_with_head = ViTConfig(hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, image_size=8, patch_size=4, num_labels=5)


def run_gpt2(m):
    out = m(input_ids=ids, attention_mask=mask)
    return {"ids": ids.int(), "mask": mask.int(), "hidden": out.last_hidden_state}


def run_gpt2_head(m):
    inner = m.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
    written = m.generate(ids[:1, :3], max_new_tokens=6, do_sample=False, pad_token_id=0)
    return {"ids": ids.int(), "mask": mask.int(), "hidden": inner, "logits": m(input_ids=ids, attention_mask=mask).logits, "written": written.int()}


def run_bert(m):
    out = m(input_ids=ids, attention_mask=mask, token_type_ids=segments)
    return {"ids": ids.int(), "mask": mask.int(), "segments": segments.int(), "hidden": out.last_hidden_state, "pooled": out.pooler_output}


def run_bert_head(m):
    return {"ids": ids.int(), "mask": mask.int(), "segments": segments.int(),
            "logits": m(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits}


def run_vit(m):
    x = torch.randn(2, 8, 12, 3)
    out = m(pixel_values=x.movedim(-1, 1))
    return {"x": x, "hidden": out.last_hidden_state, "pooled": out.pooler_output}


def run_vit_head(m):
    x = torch.randn(2, 8, 8, 3)
    return {"x": x, "logits": m(pixel_values=x.movedim(-1, 1)).logits}


def older(name):
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


write("gpt2", GPT2Model(gpt2), run_gpt2)
write("gpt2_head", GPT2LMHeadModel(gpt2), run_gpt2_head)
write("bert", BertModel(bert), run_bert)
write("bert_head", BertForSequenceClassification(bert), run_bert_head, rename=older)   # as files of the first years have them
write("vit", ViTModel(vit), run_vit)
write("vit_head", ViTForImageClassification(vit_with_head), run_vit_head, whole=False)
