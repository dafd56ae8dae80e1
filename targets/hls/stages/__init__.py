"""The kinds of stages, one file each: how they fold, how long they take, what they cost, their C++."""
