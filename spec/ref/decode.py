"""Pictures as TensorFlow decodes them: python spec/ref/decode.py (TensorFlow 2.21) writes spec/ref/decode.lua."""
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf

here = os.path.dirname(os.path.abspath(__file__))
files = [("images/rgb.png", 1), ("images/rgba.png", 1), ("images/palette.png", 1), ("images/grey.png", 1),
         ("images/q60_422.jpg", 1), ("images/grey.jpg", 3), ("images/grey.jpg", 1), ("pictures/jpeg_8x8_0.jpg", 1),
         ("pictures/jpeg_8x8_2.jpg", 1), ("pictures/jpeg_8x8_2.jpg", 3), ("pictures/jpeg_17x31_1.jpg", 3)]
with open(os.path.join(here, "decode.lua"), "w") as f:
    f.write("-- Made by spec/ref/decode.py, TensorFlow %s: file, height, width, channels, bytes in hexadecimal.\nreturn {\n"
            % tf.__version__)
    for name, channels in files:
        x = tf.image.decode_image(tf.io.read_file(os.path.join(here, name)), channels=channels, expand_animations=False).numpy()
        h, w, c = x.shape
        text = x.tobytes().hex()
        f.write('  { "%s", %d, %d, %d, [[\n%s]] },\n' % (name, h, w, c, "\n".join(text[i:i + 96] for i in range(0, len(text), 96))))
    f.write("}\n")
