"""Model families: how a checkpoint of FLUX or Qwen-Image loads, encodes prompts and plays a trajectory."""
