-- Made by spec/ref/macs.py from the real Keras; do not edit.
return {
  {["name"] = "mlp", ["batch"] = 16, ["macs"] = 29600},
  {["name"] = "cnn", ["batch"] = 4, ["macs"] = 216448},
  {["name"] = "attention", ["batch"] = 2, ["macs"] = 92160},
}
