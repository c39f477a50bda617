-- What is learned of the user, remembered, imported and examined.

-- learning

-- memory

-- intents

-- imports

-- pairs
