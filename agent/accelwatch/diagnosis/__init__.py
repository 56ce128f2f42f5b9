"""Why a run stands or ended, and which nodes are bad: what the whole fleet says, put together for one person."""
