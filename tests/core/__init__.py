"""The pure core: answers, dialogues, policy, gate, lanes."""
