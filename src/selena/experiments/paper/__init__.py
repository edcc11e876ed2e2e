"""The paper's table and figures, from planning the work to files beside the published figures."""
