"""The 20 questions that every version answers at the gate.

Everyday ones of many kinds, most in English, one each in four other languages. They are fixed,
so that the reports of two versions can be compared, and hold nothing of the user's. Each stands
behind the code of its language: many are too short to tell it.
"""

from __future__ import annotations

PROMPTS: tuple[tuple[str, str], ...] = (
    ("en", "How do I cook rice so that it does not stick?"),
    ("en", "What is the difference between a virus and a bacterium?"),
    ("en", "Write a short, friendly note that thanks a neighbour for watering the plants."),
    ("en", "Explain in a few sentences how a bicycle stays upright."),
    ("en", "My meeting was moved to Friday. Help me tell my team."),
    ("en", "Give me three ideas for a rainy Sunday."),
    ("en", "What should I check before I buy a used car?"),
    ("en", "Summarise why people sleep."),
    ("en", "How can I remember names better?"),
    ("en", "What is a good way to begin learning to program?"),
    ("en", "Tell me a very short story about a lighthouse."),
    ("en", "Why is the sky blue?"),
    ("en", "I feel tired after lunch every day. What could I try?"),
    ("en", "How does compound interest work?"),
    ("en", "Suggest a simple dinner with eggs and spinach."),
    ("en", "What does a hash function do?"),
    ("de", "Wie kann ich besser einschlafen, wenn ich abends noch lange an die Arbeit denke?"),
    ("fr", "Comment puis-je garder mes plantes en bonne santé pendant l'hiver ?"),
    ("es", "¿Qué puedo hacer para aprender un idioma nuevo sin perder la motivación?"),
    ("it", "Come posso preparare un buon caffè a casa senza una macchina costosa?"),
)
