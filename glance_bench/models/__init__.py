"""Model families: how a checkpoint of FLUX or Qwen-Image loads, encodes prompts and plays a trajectory."""

import logging

# diffusers and peft import bitsandbytes where it is installed, which then advises on kernels that nothing here uses.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
