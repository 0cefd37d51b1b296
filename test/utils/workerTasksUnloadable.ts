/** A worker module that cannot be loaded. */
throw new RangeError("the module throws")
