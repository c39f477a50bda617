"""The 20 questions that every version answers at the gate.

Everyday ones of many kinds, most in English, one each in four other languages. They are fixed,
so that the reports of two versions can be compared, and hold nothing of the user's.
"""

from __future__ import annotations

PROMPTS: tuple[str, ...] = (
    "How do I cook rice so that it does not stick?",
    "What is the difference between a virus and a bacterium?",
    "Write a short, friendly note that thanks a neighbour for watering the plants.",
    "Explain in a few sentences how a bicycle stays upright.",
    "My meeting was moved to Friday. Help me tell my team.",
    "Give me three ideas for a rainy Sunday.",
    "What should I check before I buy a used car?",
    "Summarise why people sleep.",
    "How can I remember names better?",
    "What is a good way to begin learning to program?",
    "Tell me a very short story about a lighthouse.",
    "Why is the sky blue?",
    "I feel tired after lunch every day. What could I try?",
    "How does compound interest work?",
    "Suggest a simple dinner with eggs and spinach.",
    "What does a hash function do?",
    "Wie kann ich besser einschlafen, wenn ich abends noch lange an die Arbeit denke?",
    "Comment puis-je garder mes plantes en bonne santé pendant l'hiver ?",
    "¿Qué puedo hacer para aprender un idioma nuevo sin perder la motivación?",
    "Come posso preparare un buon caffè a casa senza una macchina costosa?",
)
