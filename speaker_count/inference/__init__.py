import os

# before onnxruntime is imported, which else notes in the home folder what it ran on, to be sent to its makers
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
