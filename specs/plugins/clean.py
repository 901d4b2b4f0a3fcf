"""A preprocessor: tickets with several answers become one row an answer."""


def clean(row, shortest: int = 1):
    """A row in; a row, a list of rows, or the reason of a rejection out. It must give the same for the same row."""
    if "answers" not in row:
        return row
    answers = [text.strip() for text in row["answers"]]
    kept = [text for text in answers if len(text.split()) >= shortest]
    if not kept:
        return "no answer is long enough"
    return [{"prompt": row["question"].strip(), "completion": text} for text in kept]
