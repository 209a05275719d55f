/** Owns the page on which an admin or auditor logs in. Never says which secret was nearly right. */
import { Page } from './frame.tsx'

export function LoginPage({ next, notice }: { next: string; notice?: string | undefined }) {
  return (
    <Page title="Log in">
      <div class="narrow">
        <div class="card">
          <h1>Log in to the console</h1>
          {notice && (
            <p class="notice" role="alert">
              {notice}
            </p>
          )}
          <form method="post" action="/console/login">
            <div class="field">
              <label for="secret">Secret of an admin or auditor</label>
              <input
                id="secret"
                name="secret"
                type="password"
                required
                autocomplete="current-password"
                aria-describedby="about"
              />
            </div>
            {next !== '/console' && <input type="hidden" name="next" value={next} />}
            <button class="main" type="submit">
              Log in
            </button>
          </form>
          <p id="about" class="muted small">
            What ADMIN_TOKEN or AUDITOR_TOKEN holds, without the name before the colon. You stay logged in for
            8 hours, in this browser alone.
          </p>
          {next !== '/console' && (
            <p class="small">
              Logged in already, and came by a link from elsewhere? <a href={next}>Open the page</a>
            </p>
          )}
        </div>
      </div>
    </Page>
  )
}
