"""The paper's own environments, as gymnasium environments."""
