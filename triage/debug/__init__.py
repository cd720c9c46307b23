"""One core under questions: GDB with commands of ours, and questions the tool answers itself."""
