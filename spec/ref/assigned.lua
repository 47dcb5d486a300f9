-- Made by spec/ref/assigned.py from the real Keras; do not edit.
return {
  {["name"] = "other_order", ["layers"] = {"y", "x"}, ["weights"] = {"y/kernel", "y/bias", "x/kernel", "x/bias"}},
  {["name"] = "grown_list", ["layers"] = {"head", "i1", "i2", "tail"}, ["weights"] = {"head/kernel", "head/bias", "i1/kernel", "i1/bias", "i2/kernel", "i2/bias", "tail/kernel", "tail/bias"}},
  {["name"] = "shared", ["layers"] = {"l1", "x", "q", "b"}, ["weights"] = {"l1/kernel", "l1/bias", "x/kernel", "x/bias", "q/kernel", "q/bias", "b/kernel", "b/bias"}},
  {["name"] = "inserted", ["layers"] = {"1", "2", "h", "0"}, ["weights"] = {"1/kernel", "1/bias", "2/kernel", "2/bias", "h/kernel", "h/bias", "0/kernel", "0/bias"}},
  {["name"] = "grown_dict", ["layers"] = {"h", "z", "a"}, ["weights"] = {"h/kernel", "h/bias", "z/kernel", "z/bias", "a/kernel", "a/bias"}},
  {["name"] = "nested", ["layers"] = {"n1", "k", "ka", "o"}, ["weights"] = {"n1/kernel", "n1/bias", "k/kernel", "k/bias", "ka/kernel", "ka/bias", "o/kernel", "o/bias"}},
  {["name"] = "options", ["layers"] = {"first", "second", "third"}, ["weights"] = {"first/kernel", "first/bias", "second/kernel", "second/bias", "third/kernel", "third/bias"}},
}
