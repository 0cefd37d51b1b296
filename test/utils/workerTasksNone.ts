/** A module that is no worker module. */
export default { tasks: [] }
