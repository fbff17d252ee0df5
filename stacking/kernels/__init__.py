"""Every compiled loop of the package. Import these modules inside functions only: `import stacking` loads no numba."""
