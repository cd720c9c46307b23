"""Takes cores from the kernel. Loads little, so that the dying process's place is free again soon."""
