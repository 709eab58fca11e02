"""The passes of a run: plan, generate, score, time, report. Files lie between them: each can be resumed."""
